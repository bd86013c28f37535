// Command etcd is the API server's store.
//
// etcd is published as a library with a main package beside it; that main is not part of the module that can be
// required, so these lines stand for it.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
