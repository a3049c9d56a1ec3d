# The same commands as ./dev, for those whose fingers say make.
COMMANDS := demo test setup check tests coverage bounds bench count digests peers report \
    evaluate faults format lock

.PHONY: help $(COMMANDS)
help:
	@./dev help
$(COMMANDS):
	@./dev $@
