"""Published data that several tests compare with."""

from __future__ import annotations

# Student (1908), section IX: additional hours of sleep of ten patients, the second drug minus the first.
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]

# Darwin (1876), heights of crossed minus self-fertilised maize, in eighths of an inch; Fisher (1935), section 17.
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]

# Benjamini and Hochberg (1995), section 3.2: thrombolysis, 15 comparisons.
THROMBOLYSIS = [
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
    *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
]

# Dunnett (1955): blood counts of a control and of two groups of treated animals.
CONTROL = [7.40, 8.50, 7.20, 8.24, 9.84, 8.32]
DRUG_A = [9.76, 8.80, 7.68, 9.36]
DRUG_B = [12.80, 9.68, 12.16, 9.20, 10.55]
