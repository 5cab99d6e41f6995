/// The candidate that `word` is most likely a misspelling of; nil when none is near enough to be worth a guess.
///
/// - Complexity: O(length of `word` × length of all candidates).
public func nearestWord(to word: String, among candidates: [String]) -> String? {
  let word = word.lowercased()
  let ranked = candidates.map { (candidate: $0, distance: editDistance(word, $0)) }
  let best = ranked.min { left, right in
    // "of" is as far from "on" as from "off"; who types the beginning of a word means that word.
    if left.distance != right.distance { return left.distance < right.distance }
    return left.candidate.hasPrefix(word) && !right.candidate.hasPrefix(word)
  }
  guard let best, best.distance <= max(1, word.count / 3) else { return nil }
  return best.candidate
}

/// Insertions, deletions, replacements and swaps of neighbouring characters that turn `left` into `right` (optimal string
/// alignment distance): the four mistakes that fingers make.
func editDistance(_ left: String, _ right: String) -> Int {
  let left = Array(left), right = Array(right)
  var beforePrevious = [Int](), previous = Array(0...right.count)
  for row in left.indices {
    var current = [row + 1]
    for column in right.indices {
      var best = min(previous[column + 1] + 1, current[column] + 1, previous[column] + (left[row] == right[column] ? 0 : 1))
      if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
        best = min(best, beforePrevious[column - 1] + 1)
      }
      current.append(best)
    }
    beforePrevious = previous
    previous = current
  }
  return previous[right.count]
}
