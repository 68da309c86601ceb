# Requests a day, by protocol: Rscript read.R https://SERVICE
library(arrow)
library(jsonlite)

args <- commandArgs(trailingOnly = TRUE)
data <- paste0(if (length(args)) args[1] else "https://SERVICE", "/dataset/")
files <- fromJSON(paste0(data, "manifest.json"))$files
files <- subset(files, metric == "http.requests" & grain == "day" & format == "parquet")
rows <- do.call(rbind, lapply(paste0(data, files$path), function(url) as.data.frame(read_parquet(url))))

# Each facet parts the same requests, so that sums are over one of them. A rest
# is the sum of the groups that are too small to be shown.
rows <- subset(rows, facet == "all" & !rest)
rows$time <- format(rows$time, "%Y-%m-%d", tz = "UTC")
rows$count <- as.numeric(rows$count)
table <- aggregate(count ~ time + protocol, rows, sum)
write.csv(table[order(table$time, table$protocol), ], row.names = FALSE, quote = FALSE)
