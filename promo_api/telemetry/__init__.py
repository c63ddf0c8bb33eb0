"""What the service reports about itself: request instrumentation."""
