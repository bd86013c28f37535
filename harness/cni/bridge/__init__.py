"""The pod network `bridge`: the bridge plugin and static routes, without an agent."""
