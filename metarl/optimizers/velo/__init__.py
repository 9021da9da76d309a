"""VeLO: a per-tensor LSTM that generates per-parameter networks."""
