"""Profiling: joins the compiler, which builds and measures, and the runtime, which runs what is built."""
