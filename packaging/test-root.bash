# Sourced by test-deb and test-rpm: makes a clean root in $root, and defines functions to use and check it.

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
"$(dirname "$0")/clean-root" "$root"

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Runs a command in the root. /proc is mounted there only while the command runs.
inside() {
    unshare --mount --pid --fork --mount-proc="$root/proc" chroot "$root" \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        "$@" < /dev/null
}

# Lists every file with its type, mode, owner, group and link target, without /var/log, the package managers'
# databases, and the backups of the account files: the packages add a user, who stays, and useradd makes these.
files() {
    (cd "$root" && find . -xdev \( -path ./proc -o -path ./var/log -o -path ./var/lib/dpkg -o -path ./var/lib/rpm \) -prune \
        -o -printf '%p %y %m %u %g %l\n' | grep -vE '^\./etc/(passwd|group|shadow|gshadow|subuid|subgid)- ' | sort)
}

# Prints the calls to the service manager since the last call of this function, without daemon-reload.
services() {
    grep -v daemon-reload "$root/var/log/services" || true
    : > "$root/var/log/services"
}

expect() {
    [ "$2" = "$3" ] || fail "$1: expected '$3', found '$2'"
}

# Uses and checks the installed package. Both package formats must pass.
use() {
    expect "the mode of twitcher.toml" "$(stat -c '%a %U %G' "$root/etc/twitcher/twitcher.toml")" "644 root root"
    [ -z "$(find "$root/etc/systemd" -name 'twitcher*')" ] || fail "the unit was enabled unasked"
    for unit in twitcher twitcher-serve; do
        expect "the mode of $unit.service" \
            "$(stat -c '%a %U %G' "$root/usr/lib/systemd/system/$unit.service")" "644 root root"
    done
    expect "what the installation asked of services" "$(services)" ""
    inside twitcher --version
    inside twitcher check
    cat > "$root/etc/twitcher/mine.twc" <<'CONFIG'
RegisterWatch(#{ znode: "/n", action: Exec("cat > /var/log/ran"), description: "mine" });
CONFIG
    inside twitcher check
    mkdir "$root/srv/nodes"
    echo content > "$root/srv/nodes/n"
    # The processes of stores run as the user that the package made.
    expect "the shell of the user twitcher" "$(inside getent passwd twitcher | cut -d: -f7)" /usr/sbin/nologin
    [ "$(inside id -u twitcher)" -gt 0 ] || fail "the user twitcher is root"
    inside twitcher run --once --log-to-stdout --store dir:/srv/nodes > "$root/var/log/said" 2>&1
    ! grep "there is no user twitcher" "$root/var/log/said" || fail "the daemon does not find the user twitcher"
    expect "what the action was given" "$(cat "$root/var/log/ran")" content
    rm -r "$root/srv/nodes"
    [ -e "$root/var/lib/twitcher/ledger.db" ] || fail "no ledger"
    echo 'RegisterWatch(#{ znod: "/n" });' > "$root/etc/twitcher/wrong.twc"
    ! inside twitcher check > "$root/var/log/said" 2>&1 || fail "a wrong config passes"
    grep -q 'wrong.twc:1:18: .*znod' "$root/var/log/said" || fail "the check says: $(cat "$root/var/log/said")"
    rm "$root/etc/twitcher/wrong.twc"
    # `systemctl enable` makes this link.
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -s /usr/lib/systemd/system/twitcher.service "$root/etc/systemd/system/multi-user.target.wants/twitcher.service"
}
