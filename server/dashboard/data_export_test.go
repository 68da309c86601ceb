package dashboard

// SQLQuestions are the queries that the page of SQL has ready, by title.
func SQLQuestions() map[string]string {
	queries := map[string]string{}
	for _, q := range sqlQuestions {
		queries[q.Title] = q.SQL
	}
	return queries
}

// EnginePolicy is the policy of the engine's worker on a host.
func EnginePolicy(host string) string { return engineSecurityPolicy(host) }
