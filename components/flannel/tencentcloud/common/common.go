// Package common stands in for the Tencent Cloud SDK, which the Go module proxy does not serve.
//
// flanneld links every backend, also tencent-vpc, which no lab can use: it needs that cloud's metadata service.
// These few declarations satisfy the compiler; the backend then says that it is not part of this build.
package common

// StringPtr returns a pointer to a copy of s.
func StringPtr(s string) *string { return &s }

// BoolPtr returns a pointer to a copy of b.
func BoolPtr(b bool) *bool { return &b }

// StringPtrs returns pointers to copies of the given strings.
func StringPtrs(values []string) []*string {
	pointers := make([]*string, len(values))
	for i := range values {
		pointers[i] = StringPtr(values[i])
	}
	return pointers
}
