module placet.dev/tools/load

go 1.26.0
