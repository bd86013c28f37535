package agent

// Main is `responder run`.
func Main([]string) error { return nil }
