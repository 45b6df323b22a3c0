"""What solving is given beside the documents: flows of requests, the network, times declared, mixes, traces."""
