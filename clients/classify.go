package clients

// maxLen is how much of a User-Agent is looked at.
const maxLen = 512

// Classify tells what a User-Agent claims to be.
func Classify(ua string) Client {
	if ua == "" {
		return Client{Kind: None}
	}
	return Client{}
}
