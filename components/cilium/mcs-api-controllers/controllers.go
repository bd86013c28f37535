// Package controllers stands in for sigs.k8s.io/mcs-api/controllers, which the Go module proxy does not serve.
//
// Cilium's operator uses this one constant of it.
package controllers

// DerivedServiceAnnotation is on a ServiceImport and names the Service that was made for it.
const DerivedServiceAnnotation = "multicluster.kubernetes.io/derived-service"
