# A thin front for Meson. `make run` and `make test` need nothing but a Debian 12: they install what is missing.
BUILD ?= build
.PHONY: all run test install bench fmt clean

all: setup
	@ninja --quiet -C $(BUILD)

.PHONY: setup
setup:
	@sh packaging/setup.sh
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) >$(BUILD).setup.log 2>&1 || { cat $(BUILD).setup.log; exit 1; }
	@rm -f $(BUILD).setup.log

# Starts the server with its built-in demonstration, sends one message through it, shows where it went; stays up.
run: setup
	@ninja --quiet -C $(BUILD) src/prog/waxwing
	@sh packaging/demo.sh $(BUILD)

# Everything, and the whole again under ASan and UBSan; ends in one line of counts.
test: all
	@python3 tests/run.py $(BUILD) build-asan

# Below /usr/local: the program, the manual, a unit for systemd. As root also the users of its processes.
install: all
	@meson install --no-rebuild -C $(BUILD)
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || sh packaging/users.sh

bench: all
	@sh bench/run.sh $(BUILD)

fmt:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	@rm -rf build build-*
