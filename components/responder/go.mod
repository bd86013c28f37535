module cnilab.dev/components/responder

go 1.24.0
