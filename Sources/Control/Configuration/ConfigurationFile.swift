/// What a YAML file says.
public struct ConfigurationFile: Sendable {
  let values: [Given]
  let mistakes: [String]
}
