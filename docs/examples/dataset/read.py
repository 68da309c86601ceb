# Requests a day, by protocol: python3 read.py https://SERVICE
import json
import sys
from urllib.request import urlopen

import pandas

data = (sys.argv[1] if len(sys.argv) > 1 else "https://SERVICE") + "/dataset/"
manifest = json.load(urlopen(data + "manifest.json"))
files = [f["path"] for f in manifest["files"]
         if (f["metric"], f["grain"], f["format"]) == ("http.requests", "day", "csv.zst")]
# With pyarrow, pandas.read_parquet does the same with the files whose format is "parquet".
rows = pandas.concat(pandas.read_csv(data + path, compression="zstd", parse_dates=["time"]) for path in files)

# Each facet parts the same requests, so that sums are over one of them. A rest
# is the sum of the groups that are too small to be shown.
rows = rows[(rows["facet"] == "all") & ~rows["rest"]]
table = rows.groupby([rows["time"].dt.strftime("%Y-%m-%d"), "protocol"])["count"].sum()
print(table.reset_index().to_csv(index=False), end="")
