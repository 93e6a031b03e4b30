"""The metric values of conditions: what a result is made of, and what is compared."""
