"""NetworkPolicies round by round: pods dial each other under each, and what they saw is recorded."""
