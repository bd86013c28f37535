module cnilab.dev/components/nodeinit

go 1.24
