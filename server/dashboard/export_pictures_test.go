package dashboard

// OfForms are the ids of charts, the first of each form, and one that can be filtered.
func OfForms() map[string]string {
	ids := map[string]string{}
	for _, c := range charts {
		if _, ok := ids[string(c.Form)]; !ok {
			ids[string(c.Form)] = c.ID
		}
		if c.overTime() && c.Overview && c.unfiltered("country:DE") == "" {
			ids["filtered"] = c.ID
		}
		if c.Base != 0 {
			ids[string(c.Form)+" of a base"] = c.ID
		}
	}
	return ids
}
