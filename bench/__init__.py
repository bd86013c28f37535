"""What things take and cost: scripts that print Markdown tables; see docs/performance.md."""
