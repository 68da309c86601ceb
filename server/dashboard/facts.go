package dashboard

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// factLines lists what a report says of its instance, without the lists of
// modules and features, which the page shows for themselves.
func factLines(f *wire.Facts) []factLine {
	number := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	lines := []factLine{
		{"Caddy", f.GetCaddyVersion()},
		{"Evergreen", f.GetEvergreenVersion()},
		{"Go", f.GetGoVersion()},
		{"Platform", strings.Trim(f.GetOs()+"/"+f.GetArch(), "/")},
		{"Kernel", f.GetKernel()},
		{"CPUs", number(f.GetCpus())},
		{"CPU features", strings.Join(f.GetCpuFeatures(), ", ")},
		{"Memory", f.GetMemory()},
		{"Container", f.GetContainer()},
		{"Started by", f.GetInit()},
		{"Installed by", f.GetInstallation()},
		{"Up for", uptime(f.GetUptimeSeconds())},
		{"Sites", number(f.GetSites())},
		{"Listeners", number(f.GetListeners())},
		{"Servers", number(f.GetServers())},
		{"Protocols", strings.Join(f.GetProtocols(), ", ")},
		{"Configured by", f.GetConfigAdapter()},
		{"Deployment", f.GetDeployment()},
		{"Label", f.GetLabel()},
	}
	for i := range lines {
		if lines[i].Value == "" {
			lines[i].Value = "–"
		}
	}
	return lines
}

func uptime(seconds uint64) string {
	const minute, hour, day = 60, 3600, 86400
	switch {
	case seconds < 2*minute:
		return fmt.Sprintf("%d seconds", seconds)
	case seconds < 2*hour:
		return fmt.Sprintf("%d minutes", seconds/minute)
	case seconds < 2*day:
		return fmt.Sprintf("%d hours", seconds/hour)
	}
	return fmt.Sprintf("%d days", seconds/day)
}

func newReportLine(r ReportInfo) reportLine {
	where := countryName(r.Country)
	if r.Network != 0 {
		where += fmt.Sprintf(", AS%d", r.Network)
	}
	clock := "15:04"
	if r.From.Second()+r.To.Second() != 0 {
		clock = "15:04:05"
	}
	return reportLine{
		ReportInfo: r,
		When:       r.Received.Format("2 Jan, 15:04:05"),
		Windows:    r.From.Format(clock) + "–" + r.To.Format(clock),
		Where:      where,
		Size:       join(amount(float64(r.Bytes), wire.Bytes)),
	}
}
