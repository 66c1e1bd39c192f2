# Each recipe is one line of sense; what it takes to do it is in tools/.
.PHONY: demo test bench campaign peers gpu wheel fmt

demo: ## A real LoRA fine-tune, metered and judged, on this machine
	tools/demo.sh

test: ## Everything that has to hold
	tools/test.sh

bench: ## The speed targets of the design, measured here
	tools/bench.sh

campaign: ## A day of metering in half an hour: nothing may grow but the records
	tools/campaign.sh

peers: ## METHOD.md's table of errors, ours and others', on the recorded cases
	tools/peers.sh

gpu: ## Ceilings against true operations on this machine's GPU; says so where there is none
	tools/gpu.sh

wheel: ## The Python package with the native command in it
	tools/wheel.sh release

fmt:
	cargo fmt --all
