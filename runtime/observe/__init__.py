"""What a deployment shows of itself: metrics, the latest requests' percentiles, and a log with a line a request."""
