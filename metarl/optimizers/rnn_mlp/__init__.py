"""RNN-MLP: a per-tensor LSTM that exchanges messages with a per-parameter MLP."""
