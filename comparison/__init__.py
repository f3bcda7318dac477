"""The comparison of intent classifiers: measurements, cost, decision, report."""
