// Package errors stands in for the Tencent Cloud SDK's error type; see the package common.
package errors

// TencentCloudSDKError is never returned by this stand-in.
type TencentCloudSDKError struct{}

func (*TencentCloudSDKError) Error() string { return "tencent-vpc is not part of this build" }
