"""Ray: nodes, labels and actors. Nothing outside this folder and `runtime.channel.ray_calls` knows it."""
