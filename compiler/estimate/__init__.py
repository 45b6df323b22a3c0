"""What a model costs on hardware that nobody measured: from its operators, the hardware's figures, and how our backends
did on a machine that was measured."""
