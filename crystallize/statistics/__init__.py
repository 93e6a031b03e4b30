"""Statistics: verifiers, and the hypotheses that apply them to baseline and treatments."""
