# Requests a day, by protocol: Rscript read.R https://SERVICE
library(jsonlite)

args <- commandArgs(trailingOnly = TRUE)
data <- paste0(if (length(args)) args[1] else "https://SERVICE", "/dataset/")
files <- fromJSON(paste0(data, "manifest.json"))$files
files <- subset(files, metric == "http.requests" & grain == "day" & format == "csv.zst")
# With arrow, read_parquet does the same with the files whose format is "parquet".
read <- function(path) read.csv(pipe(paste0("curl -sSf ", data, path, " | zstd -dc")))
rows <- do.call(rbind, lapply(files$path, read))

# Each facet parts the same requests, so that sums are over one of them. A rest
# is the sum of the groups that are too small to be shown.
rows <- subset(rows, facet == "all" & rest == "false")
rows$time <- substr(rows$time, 1, 10)
table <- aggregate(count ~ time + protocol, rows, sum)
table$count <- format(table$count, scientific = FALSE, trim = TRUE)
write.csv(table[order(table$time, table$protocol), ], row.names = FALSE, quote = FALSE)
