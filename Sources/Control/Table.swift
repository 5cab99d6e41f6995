/// Text in columns, two spaces apart. Columns are as wide as their widest cell; nothing is wrapped or cut.
struct Table: CustomStringConvertible {
  var rows: [[String]]
  /// Columns whose cells are pushed to the right: numbers.
  var numbers: Set<Int> = []

  /// Without a newline at the end.
  var description: String {
    var widths: [Int] = []
    for row in rows {
      for (column, cell) in row.enumerated() {
        if column == widths.count { widths.append(0) }
        widths[column] = max(widths[column], cell.count)
      }
    }
    return rows.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        if column > 0 { line += "  " }
        line += numbers.contains(column) ? padding + cell : cell + padding
      }
      while line.last == " " { line.removeLast() }
      return line
    }.joined(separator: "\n")
  }
}
