"""How the scenes are drawn and the models are trained."""
