# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_twitcher_global_optspecs
    string join \n store= zkservers= session-timeout= config-path= state-dir= log-to-stdout log-file= v/verbose d/debug pid-file= control-socket= allow-untrusted daemonize ledger-reset once dry-run stop-timeout= devel h/help V/version
end

function __fish_twitcher_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_twitcher_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_twitcher_using_subcommand
    set -l cmd (__fish_twitcher_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c twitcher -n "__fish_twitcher_needs_command" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r
complete -c twitcher -n "__fish_twitcher_needs_command" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_needs_command" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long a client command waits for a reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_needs_command" -l config-path -d 'Directory of the .twc files, read recursively [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_needs_command" -l state-dir -d 'Directory of the daemon\'s own state, its ledger [default: /var/lib/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_needs_command" -l log-file -d 'Append the log to a file' -r -F
complete -c twitcher -n "__fish_twitcher_needs_command" -l pid-file -d 'Write the process id to a file and lock it, so that a second daemon with this file refuses to start' -r -F
complete -c twitcher -n "__fish_twitcher_needs_command" -l control-socket -d 'Socket on which operators reach the daemon [default: /run/twitcher/control.sock, or, for users other than root, twitcher/control.sock in XDG_RUNTIME_DIR]' -r -F
complete -c twitcher -n "__fish_twitcher_needs_command" -l stop-timeout -d 'How long running actions may take to end by themselves when the daemon stops; then they get SIGTERM and, 5 s later, SIGKILL [default: 10; 4 as process 1 of a container]' -r
complete -c twitcher -n "__fish_twitcher_needs_command" -l log-to-stdout -d 'Log to stdout, which is the default on a terminal; otherwise the log goes to the journal, or to syslog (facility daemon)'
complete -c twitcher -n "__fish_twitcher_needs_command" -s v -l verbose -d 'Log successful runs and every change of a watch, too'
complete -c twitcher -n "__fish_twitcher_needs_command" -s d -l debug -d 'Log everything'
complete -c twitcher -n "__fish_twitcher_needs_command" -l allow-untrusted -d 'As root, also load configs that users other than root can change, with a warning: these users can decide what root runs. For development'
complete -c twitcher -n "__fish_twitcher_needs_command" -l daemonize -d 'Run in the background'
complete -c twitcher -n "__fish_twitcher_needs_command" -l ledger-reset -d 'For one start only: set aside the ledger of the state directory, for example that of a newer Twitcher, and start with an empty one. Every watch then counts as new; what was paused, stopped or held can run'
complete -c twitcher -n "__fish_twitcher_needs_command" -l once -d 'Run everything that is pending, wait for it, and exit 1 if anything is wrong then'
complete -c twitcher -n "__fish_twitcher_needs_command" -l dry-run -d 'Start nothing; print what would run, and why. A running daemon is not disturbed'
complete -c twitcher -n "__fish_twitcher_needs_command" -l devel -d 'Try Twitcher out: foreground, debug log to stdout, the configs in etc/examples even if others can change them, and a directory store of its own'
complete -c twitcher -n "__fish_twitcher_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_needs_command" -s V -l version -d 'Print version'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "run" -d 'Run the daemon: watch the nodes that the configs name, and run their actions'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "check" -d 'Validate .twc files, and directories of them; exit 1 and show where if one is wrong'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "get" -d 'Write a node\'s bytes to stdout; a terminal gets control characters escaped'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "set" -d 'Create a node, with its parents, or replace its data'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "poke" -d 'Rewrite a node\'s data unchanged, so that watches fire'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "ls" -d 'List the names of a node\'s children, sorted, one per line'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "rm" -d 'Delete a node'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "watch" -d 'Follow a node: print its present state, then a line for each change, until interrupted'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "status" -d 'Show the state of the daemon and of its watches; with --check, exit 1 if anything is wrong'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "trigger" -d 'Run a watch\'s action now with the node\'s present content, even if a failure has stopped the watch'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "pause" -d 'Start no new runs of a watch until it is resumed, even after a restart; a running action continues'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "resume" -d 'End the pause of a watch; if an update came meanwhile, its action runs at once'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "kill" -d 'Kill the running actions of a watch as a timeout does: SIGTERM to each process group, SIGKILL 5 s later'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "reload" -d 'Make the daemon read its configs again, wait for it, and exit 1 if one cannot be loaded'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "history" -d 'List runs, newest first'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "logs" -d 'Write the output of a run to stdout, its last 64 KiB'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long a client command waits for a reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l config-path -d 'Directory of the .twc files, read recursively [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l state-dir -d 'Directory of the daemon\'s own state, its ledger [default: /var/lib/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l log-file -d 'Append the log to a file' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l pid-file -d 'Write the process id to a file and lock it, so that a second daemon with this file refuses to start' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l control-socket -d 'Socket on which operators reach the daemon [default: /run/twitcher/control.sock, or, for users other than root, twitcher/control.sock in XDG_RUNTIME_DIR]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l stop-timeout -d 'How long running actions may take to end by themselves when the daemon stops; then they get SIGTERM and, 5 s later, SIGKILL [default: 10; 4 as process 1 of a container]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l log-to-stdout -d 'Log to stdout, which is the default on a terminal; otherwise the log goes to the journal, or to syslog (facility daemon)'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -s v -l verbose -d 'Log successful runs and every change of a watch, too'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -s d -l debug -d 'Log everything'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l allow-untrusted -d 'As root, also load configs that users other than root can change, with a warning: these users can decide what root runs. For development'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l daemonize -d 'Run in the background'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l ledger-reset -d 'For one start only: set aside the ledger of the state directory, for example that of a newer Twitcher, and start with an empty one. Every watch then counts as new; what was paused, stopped or held can run'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l once -d 'Run everything that is pending, wait for it, and exit 1 if anything is wrong then'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l dry-run -d 'Start nothing; print what would run, and why. A running daemon is not disturbed'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l devel -d 'Try Twitcher out: foreground, debug log to stdout, the configs in etc/examples even if others can change them, and a directory store of its own'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand check" -l explain -d 'Print each watch of the valid files as the daemon would load it: its identity and its settings'
complete -c twitcher -n "__fish_twitcher_using_subcommand check" -l allow-untrusted -d 'Only warn of files that users other than root can change'
complete -c twitcher -n "__fish_twitcher_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long a client command waits for a reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long a client command waits for a reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l empty -d 'Make the node empty. With -, stdin may be empty'
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand poke" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand poke" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand poke" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long a client command waits for a reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand poke" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand ls" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand ls" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand ls" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long a client command waits for a reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand ls" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long a client command waits for a reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -l recursive -d 'Delete everything below the node, too. This takes as long as it needs, and stderr shows how far it is'
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long a client command waits for a reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l count -d 'End after N lines' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l children -d 'Follow the names of the node\'s children instead of its data'
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l json -d 'Print one JSON object per line, with the whole content: time, znode, event, version, size and text (or children, or the reason)'
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l stuck-after -d 'How long an action may run while an update waits for it, or a start may wait because max_actions run, before that is a problem' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l json -d 'Print one JSON object'
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -s f -l follow -d 'Show the state again whenever it changes, until interrupted or until the daemon ends'
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l check -d 'Print only problems, and exit 1 if there is any: a watch that fails, is held, is stuck or runs in circles, a start that waits because max_actions run, a store that is not connected, a config that is not loaded or was emptied, a lost ledger, or another part that does not work'
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand trigger" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand trigger" -l force -d 'Run it even with content that a guard holds (`max_data`, `guard`), if the node still has that content'
complete -c twitcher -n "__fish_twitcher_using_subcommand trigger" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand pause" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand pause" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand resume" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand resume" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand kill" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand kill" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand reload" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand reload" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -s n -l limit -d 'Greatest number of runs to list' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l failed -d 'Only runs that failed or whose outcome is unknown'
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l json -d 'Print one JSON object per line'
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand logs" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand logs" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "run" -d 'Run the daemon: watch the nodes that the configs name, and run their actions'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "check" -d 'Validate .twc files, and directories of them; exit 1 and show where if one is wrong'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "get" -d 'Write a node\'s bytes to stdout; a terminal gets control characters escaped'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "set" -d 'Create a node, with its parents, or replace its data'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "poke" -d 'Rewrite a node\'s data unchanged, so that watches fire'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "ls" -d 'List the names of a node\'s children, sorted, one per line'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "rm" -d 'Delete a node'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "watch" -d 'Follow a node: print its present state, then a line for each change, until interrupted'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "status" -d 'Show the state of the daemon and of its watches; with --check, exit 1 if anything is wrong'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "trigger" -d 'Run a watch\'s action now with the node\'s present content, even if a failure has stopped the watch'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "pause" -d 'Start no new runs of a watch until it is resumed, even after a restart; a running action continues'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "resume" -d 'End the pause of a watch; if an update came meanwhile, its action runs at once'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "kill" -d 'Kill the running actions of a watch as a timeout does: SIGTERM to each process group, SIGKILL 5 s later'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "reload" -d 'Make the daemon read its configs again, wait for it, and exit 1 if one cannot be loaded'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "history" -d 'List runs, newest first'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "logs" -d 'Write the output of a run to stdout, its last 64 KiB'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check get set poke ls rm watch status trigger pause resume kill reload history logs help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
