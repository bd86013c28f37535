// Package v20170312 stands in for the Tencent Cloud VPC client; see the package common.
package v20170312

import "errors"

var errNotBuilt = errors.New("the flannel backend tencent-vpc is not part of this build")

// Client refuses every call.
type Client struct{}

// Filter, Route and RouteTable have the fields that flannel's backend reads and writes.
type (
	Filter struct {
		Name   *string
		Values []*string
	}
	Route struct {
		RouteId                                                 *uint64
		DestinationCidrBlock, GatewayId, GatewayType, RouteType *string
		Enabled                                                 *bool
	}
	RouteTable struct {
		RouteTableId *string
		RouteSet     []*Route
	}
	RoutesRequest struct {
		RouteTableId *string
		Routes       []*Route
	}
	DescribeRouteTablesRequest  struct{ Filters []*Filter }
	RouteTables                 struct{ RouteTableSet []*RouteTable }
	DescribeRouteTablesResponse struct{ Response *RouteTables }
)

// NewClientWithSecretId always fails, so that no other call is ever reached.
func NewClientWithSecretId(_, _, _ string) (*Client, error) { return nil, errNotBuilt }

func NewDescribeRouteTablesRequest() *DescribeRouteTablesRequest {
	return &DescribeRouteTablesRequest{}
}
func NewCreateRoutesRequest() *RoutesRequest { return &RoutesRequest{} }
func NewDeleteRoutesRequest() *RoutesRequest { return &RoutesRequest{} }

func (*Client) DescribeRouteTables(*DescribeRouteTablesRequest) (*DescribeRouteTablesResponse, error) {
	return nil, errNotBuilt
}
func (*Client) CreateRoutes(*RoutesRequest) (any, error) { return nil, errNotBuilt }
func (*Client) DeleteRoutes(*RoutesRequest) (any, error) { return nil, errNotBuilt }
