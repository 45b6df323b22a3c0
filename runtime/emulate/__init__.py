"""An infrastructure on one Linux machine: a network namespace a site, links with delay, rate, jitter and loss."""
