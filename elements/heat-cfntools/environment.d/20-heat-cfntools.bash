export LEND_UV=1
