"""Other estimators of training compute, held against PyTorch's own operation counter on the same cases as ours."""
