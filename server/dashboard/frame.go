package dashboard

import "net/url"

// A frameView is what a page has to choose its filter with and to compare.
type frameView struct {
	Path    string
	Keep    []param // the span, as hidden fields
	Filter  string  // FACET:VALUE, "" is all
	Name    string  // of what it keeps
	Clear   string  // the page without it
	Compare bool
	Choices []filterChoices
}

// A param is a parameter of a form that is not to be seen.
type param struct{ Name, Value string }

// filterChoices are a facet's values to filter by.
type filterChoices struct {
	Title  string
	Values []filterChoice
}

type filterChoice struct {
	Value, Title string // FACET:VALUE, and for people
	Selected     bool
}

// keep are parameters as hidden fields.
func keep(at url.Values) []param {
	var ps []param
	for _, k := range spanParams {
		for _, v := range at[k] {
			ps = append(ps, param{k, v})
		}
	}
	return ps
}
