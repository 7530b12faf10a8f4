"""What is measured: definitions by protocol, the networks behind them, measures of sets, intervals."""
