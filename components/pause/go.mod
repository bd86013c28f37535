module cnilab.dev/components/pause

go 1.21
