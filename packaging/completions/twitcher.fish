# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_twitcher_global_optspecs
    string join \n store= zkservers= session-timeout= config-path= state-dir= log-to-stdout log-file= log-format= v/verbose d/debug pid-file= control-socket= allow-untrusted daemonize ledger-reset once dry-run stop-timeout= devel h/help V/version
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

complete -c twitcher -n "__fish_twitcher_needs_command" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_needs_command" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_needs_command" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_needs_command" -l config-path -d 'Directory of the .twc files, read recursively [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_needs_command" -l state-dir -d 'Directory of the daemon\'s own state, its ledger [default: /var/lib/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_needs_command" -l log-file -d 'Append the log to a file' -r -F
complete -c twitcher -n "__fish_twitcher_needs_command" -l log-format -d 'Log for people, or one JSON object a line [default: text]' -r -f -a "text\t''
json\t''"
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
complete -c twitcher -n "__fish_twitcher_needs_command" -l devel -d 'Try Twitcher out: foreground, verbose log to stdout, the configs in etc/examples even if others can change them, and a directory store of its own. Without root, all actions run as the caller, whatever their uid'
complete -c twitcher -n "__fish_twitcher_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_needs_command" -s V -l version -d 'Print version'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "run" -d 'Run the daemon: watch the nodes that the configs name, and run their actions'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "check" -d 'Validate .twc files, and directories of them; exit 1 and show where if one is wrong'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "convert" -d 'Print configs of the Python original, Twitcher 1, or of zk_watcher, as configs in Rhai'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "get" -d 'Write a node\'s bytes to stdout; a terminal gets control characters escaped'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "set" -d 'Create a node, with its parents, or replace its data'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "poke" -d 'Rewrite a node\'s data unchanged, so that watches fire'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "ls" -d 'List the names of a node\'s children, sorted, one per line'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "tree" -d 'Show the nodes below a node, sorted and indented'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "txn" -d 'Do several changes at once, or none of them, if conditions hold'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "export" -d 'Write a node and all below it to stdout, one JSON object a line'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "import" -d 'Write nodes that `twitcher export` wrote into a store'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "serve" -d 'Serve the commits of versioned configuration'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "commits" -d 'Read and save versioned configuration on a server (`twitcher serve`)'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "services" -d 'Print the members of a service, with what each says of itself'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "register" -d 'Announce a member of a service while a command runs, or until SIGTERM'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "properties" -d 'Print the properties of a node, or change some of them'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "tables" -d 'List the typed tables that programs with txaio-etcd keep in etcd, or give a table its slot'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "edit" -d 'Edit a node\'s data with $VISUAL or $EDITOR'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "rm" -d 'Delete a node'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "watch" -d 'Follow a node: print its present state, then a line for each change, until interrupted'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "status" -d 'Show the state of the daemon and of its watches; with --check, exit 1 if anything is wrong'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "trigger" -d 'Run a watch\'s action now with the node\'s present content, even if a failure has stopped the watch'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "pause" -d 'Start no new runs of watches until they are resumed, even after a restart; running actions continue'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "resume" -d 'End the pause of watches; if an update came meanwhile, the action runs at once'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "kill" -d 'Kill the running actions of a watch as a timeout does: SIGTERM to each process group, SIGKILL 5 s later'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "reload" -d 'Make the daemon read its configs again, wait for it, and exit 1 if one cannot be loaded'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "history" -d 'List runs, newest first'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "logs" -d 'Write the output of a run to stdout, its last 64 KiB; with -f, also while it runs'
complete -c twitcher -n "__fish_twitcher_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l config-path -d 'Directory of the .twc files, read recursively [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l state-dir -d 'Directory of the daemon\'s own state, its ledger [default: /var/lib/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l log-file -d 'Append the log to a file' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l log-format -d 'Log for people, or one JSON object a line [default: text]' -r -f -a "text\t''
json\t''"
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
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -l devel -d 'Try Twitcher out: foreground, verbose log to stdout, the configs in etc/examples even if others can change them, and a directory store of its own. Without root, all actions run as the caller, whatever their uid'
complete -c twitcher -n "__fish_twitcher_using_subcommand run" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand check" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand check" -l explain -d 'Print each watch of the valid files as the daemon would load it: its identity and its settings'
complete -c twitcher -n "__fish_twitcher_using_subcommand check" -l lint -d 'Judge without this host: users, groups and rights are not looked up, and any user may own the files'
complete -c twitcher -n "__fish_twitcher_using_subcommand check" -l allow-untrusted -d 'Only warn of files that users other than root can change'
complete -c twitcher -n "__fish_twitcher_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand convert" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l decode -d 'Decode the data: JSON, CBOR and PROPERTIES come out as one line of JSON, of a COMMIT the payload' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l max-age -d 'Fail if the daemon last knew the data to be current longer ago than this' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l control-socket -d 'Control socket of the daemon, for --cached [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l json -d 'Print a JSON object with znode, version, data (or base64, if the data is not UTF-8), and what else the store knows of the node: on ZooKeeper its stat, by the names there (czxid, mzxid, pzxid, ctime, mtime, cversion, aversion, ephemeralOwner, dataLength, numChildren); on etcd create_revision, mod_revision and lease (hexadecimal, 0 for none); of a file mtime (in milliseconds, too), mode, uid and gid. With --cached: current_until, the time until which this is known to have been current, or null'
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -l cached -d 'Ask the daemon of this host for the last data that it saw, also while the store is away. The store is read if the daemon does not follow the node\'s data, or there is no daemon. If the data may be outdated, stderr says for how long'
complete -c twitcher -n "__fish_twitcher_using_subcommand get" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l encode -d 'Take the data as JSON, and write it in this format: json or properties (compact), or cbor, where {"$bytes": BASE64} is a byte string' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l if-version -d 'Replace the data only if the node\'s version is N; otherwise exit with 3' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l retry -d 'If the store is away, try again for at most SECONDS. Refusals, such as missing rights, are final' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l acl -d 'Who may do what with the node: `open` (everybody everything), `read` (everybody may read, and the credentials in twitcher.toml may do everything), `owner` (only these), or a list as zkCli.sh takes it, such as auth::cdrwa,world:anyone:r. Parents that are created get it, too. Without DATA, an existing node keeps its data. Only on ZooKeeper' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l ttl -d 'Remove the node after SECONDS, unless it is set again (etcd, by a lease of whole seconds). Without --ttl, a node that is set stays' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l empty -d 'Make the node empty. With -, stdin may be empty'
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -l create -d 'Only create the node; exit with 3 if it exists'
complete -c twitcher -n "__fish_twitcher_using_subcommand set" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand poke" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand poke" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand poke" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand poke" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand poke" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand ls" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand ls" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand ls" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand ls" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand ls" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand tree" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand tree" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand tree" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand tree" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand tree" -s L -l depth -d 'Go down at most LEVELS levels. Of a node below which there is more, the number of its children is shown' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand tree" -s s -l size -d 'Show the length of each node\'s data in bytes'
complete -c twitcher -n "__fish_twitcher_using_subcommand tree" -l json -d 'Print a JSON object: znode, size, and children, an array of such objects. Where --depth ends the tree, children is their number'
complete -c twitcher -n "__fish_twitcher_using_subcommand tree" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand txn" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand txn" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand txn" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand txn" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand txn" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand export" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand export" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand export" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand export" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand export" -l format -d 'jsonl: a JSON object a line; json: an array of them; csv: the columns znode, version, data and base64' -r -f -a "jsonl\t''
json\t''
csv\t''"
complete -c twitcher -n "__fish_twitcher_using_subcommand export" -l decode -d 'Decode the data of each node, and write it as value in place of data. Empty data is left as it is' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand import" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand import" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand import" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand import" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand import" -l at -d 'Put NODE in the place of the node of the first line, and the others below it' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand import" -l mirror -d 'Remove what is below that node and not in the file, except nodes that live as long as a session or a lease. Use `set -o pipefail` with a pipe, or check that the export succeeded: nodes that it could not read are removed'
complete -c twitcher -n "__fish_twitcher_using_subcommand import" -l dry-run -d 'Only say what would be done'
complete -c twitcher -n "__fish_twitcher_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand serve" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand serve" -s v -l verbose -d 'Log more'
complete -c twitcher -n "__fish_twitcher_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -f -a "list" -d 'List the keys, with version, author, age and comment of the newest commit of each'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -f -a "show" -d 'Write a key\'s payload to stdout, byte for byte'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -f -a "log" -d 'List the versions of a key, newest first'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -f -a "diff" -d 'Show what differs between two versions of a key, as a unified diff'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -f -a "save" -d 'Save the next version of a key'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -f -a "edit" -d 'Edit a key\'s payload with $VISUAL or $EDITOR, and save it as the next version'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -f -a "revert" -d 'Save the payload of an older version as the next version'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -f -a "remove" -d 'Remove a key; its history stays'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -f -a "publish" -d 'Compare the journal with the store now, and publish what differs'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and not __fish_seen_subcommand_from list show log diff save edit revert remove publish help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from list" -l url -d 'The namespace: https://HOST/NAMESPACE, http://HOST:PORT/NAMESPACE or unix:/SOCKET:/NAMESPACE [default: $TWITCHER_URL, or url of [commits] in twitcher.toml]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from list" -l timeout -d 'How long the server may take for each answer [default: 35]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from list" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from list" -l all -d 'Also list keys that were removed'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON object per line'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from show" -l url -d 'The namespace: https://HOST/NAMESPACE, http://HOST:PORT/NAMESPACE or unix:/SOCKET:/NAMESPACE [default: $TWITCHER_URL, or url of [commits] in twitcher.toml]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from show" -l timeout -d 'How long the server may take for each answer [default: 35]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from show" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from show" -l json -d 'Print a JSON object: key, version, author, comment, mtime, empty, and payload_utf8, or payload_base64 if the payload is no UTF-8'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from log" -s n -l limit -d 'Greatest number of versions to list [default: all]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from log" -l url -d 'The namespace: https://HOST/NAMESPACE, http://HOST:PORT/NAMESPACE or unix:/SOCKET:/NAMESPACE [default: $TWITCHER_URL, or url of [commits] in twitcher.toml]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from log" -l timeout -d 'How long the server may take for each answer [default: 35]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from log" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from log" -l json -d 'Print one JSON object per line'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from log" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from diff" -l url -d 'The namespace: https://HOST/NAMESPACE, http://HOST:PORT/NAMESPACE or unix:/SOCKET:/NAMESPACE [default: $TWITCHER_URL, or url of [commits] in twitcher.toml]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from diff" -l timeout -d 'How long the server may take for each answer [default: 35]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from diff" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from diff" -l json -d 'Print a JSON object: key, old and new (the headers, or null), equal, and diff (the unified diff, or null if a payload is no text)'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from save" -l version -d 'The version to save: N, if the newest is N - 1. Otherwise exit with 3' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from save" -s m -l comment -d 'Why, in one line' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from save" -l author -d 'The author, for servers without users [default: the login name]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from save" -l url -d 'The namespace: https://HOST/NAMESPACE, http://HOST:PORT/NAMESPACE or unix:/SOCKET:/NAMESPACE [default: $TWITCHER_URL, or url of [commits] in twitcher.toml]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from save" -l timeout -d 'How long the server may take for each answer [default: 35]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from save" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from save" -l empty -d 'The payload may be empty'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from save" -l json -d 'Print the new commit\'s header as a JSON object'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from save" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from edit" -s m -l comment -d 'Why, in one line [default: asked for, on a terminal]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from edit" -l author -d 'The author, for servers without users [default: the login name]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from edit" -l url -d 'The namespace: https://HOST/NAMESPACE, http://HOST:PORT/NAMESPACE or unix:/SOCKET:/NAMESPACE [default: $TWITCHER_URL, or url of [commits] in twitcher.toml]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from edit" -l timeout -d 'How long the server may take for each answer [default: 35]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from edit" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from edit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from revert" -s m -l comment -d 'Why, in one line' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from revert" -l author -d 'The author, for servers without users [default: the login name]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from revert" -l url -d 'The namespace: https://HOST/NAMESPACE, http://HOST:PORT/NAMESPACE or unix:/SOCKET:/NAMESPACE [default: $TWITCHER_URL, or url of [commits] in twitcher.toml]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from revert" -l timeout -d 'How long the server may take for each answer [default: 35]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from revert" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from revert" -l json -d 'Print the new commit\'s header as a JSON object'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from revert" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from remove" -s m -l comment -d 'Why, in one line' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from remove" -l author -d 'The author, for servers without users [default: the login name]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from remove" -l url -d 'The namespace: https://HOST/NAMESPACE, http://HOST:PORT/NAMESPACE or unix:/SOCKET:/NAMESPACE [default: $TWITCHER_URL, or url of [commits] in twitcher.toml]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from remove" -l timeout -d 'How long the server may take for each answer [default: 35]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from remove" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from remove" -l json -d 'Print the new commit\'s header as a JSON object'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from publish" -l url -d 'The namespace: https://HOST/NAMESPACE, http://HOST:PORT/NAMESPACE or unix:/SOCKET:/NAMESPACE [default: $TWITCHER_URL, or url of [commits] in twitcher.toml]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from publish" -l timeout -d 'How long the server may take for each answer [default: 35]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from publish" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from publish" -l check -d 'Publish nothing: only tell what differs, and exit with 1 if something does'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from publish" -l json -d 'Print a JSON object: leader (whether this server is the one that goes over all keys by itself), keeper (where), checked, differing and repaired (how many keys), trouble (what keeps the server from publishing now, or null) and differences, an array of key, journal and store (the versions, or null), found (what the store had that no journal has published, or null), repaired, and failure (why it could not be put right, or null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from publish" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the keys, with version, author, age and comment of the newest commit of each'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from help" -f -a "show" -d 'Write a key\'s payload to stdout, byte for byte'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from help" -f -a "log" -d 'List the versions of a key, newest first'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from help" -f -a "diff" -d 'Show what differs between two versions of a key, as a unified diff'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from help" -f -a "save" -d 'Save the next version of a key'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from help" -f -a "edit" -d 'Edit a key\'s payload with $VISUAL or $EDITOR, and save it as the next version'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from help" -f -a "revert" -d 'Save the payload of an older version as the next version'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a key; its history stays'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from help" -f -a "publish" -d 'Compare the journal with the store now, and publish what differs'
complete -c twitcher -n "__fish_twitcher_using_subcommand commits; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c twitcher -n "__fish_twitcher_using_subcommand services" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand services" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand services" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand services" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand services" -l json -d 'Print a JSON object: path, data, children (the members\' data by their names) and stat (what the store knows of the service\'s node)'
complete -c twitcher -n "__fish_twitcher_using_subcommand services" -l follow -d 'Print the members again whenever one comes, goes or changes, until interrupted. An empty line ends each list; with --json each object is one line'
complete -c twitcher -n "__fish_twitcher_using_subcommand services" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand register" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand register" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand register" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand register" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand register" -l data -d 'What the member says of itself: a value by its key, a JSON object, or a JSON string. Several are put together' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand register" -l format -d 'How that is written: REGISTRY (ndServiceRegistry, zk_watcher), CURATOR, SERVERSET (Finagle), NERVE, or RAW, as it is [default: REGISTRY]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand register" -l check -d 'Announce the member only while this command of the shell succeeds: after one success, until two failures in a row. It may take 5 s' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand register" -l interval -d 'The time from the end of a check to the next [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand register" -l drain -d 'When this command is told to end, give clients this time to see that the member is gone, before COMMAND is told. A second signal ends the wait [default: 0]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand register" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand properties" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand properties" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand properties" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand properties" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand properties" -l update -d 'Set these properties, and keep all others. A value that is no JSON is a string' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand properties" -l replace -d 'Set these properties, and remove all others' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand properties" -l unset -d 'Remove these properties' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand properties" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand tables" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand tables" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand tables" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand tables" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand tables" -l description -d 'Description of the table to attach' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand tables" -l oid -d 'Object id (a UUID) by which programs know the table to attach [default: a random one]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand tables" -l json -d 'Print a JSON array of objects with slot, name, oid, description, tags and creator; of `attach`, the table\'s object'
complete -c twitcher -n "__fish_twitcher_using_subcommand tables" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand edit" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand edit" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand edit" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand edit" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand edit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -l if-version -d 'Delete the node only if its version is N; otherwise exit with 3' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -s r -l recursive -d 'Delete everything below the node, too. This takes as long as it needs, and stderr shows how far it is'
complete -c twitcher -n "__fish_twitcher_using_subcommand rm" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l store -d 'Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]' -r -f -a '(command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)'
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l zkservers -d 'ZooKeeper servers; the same as --store zk://HOST:PORT,...' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l session-timeout -d 'Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l decode -d 'Decode the data, and print what comes of it, or why it cannot be decoded. With --json, each line has the `value`, or the `fault`' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l count -d 'End after N lines' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l children -d 'Follow the names of the node\'s children instead of its data'
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l members -d 'Follow the node\'s children with what each says of itself, as `twitcher services` shows it'
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -l json -d 'Print one JSON object per line, with the whole content: time, znode, event, version, size and text (or children, members or the reason)'
complete -c twitcher -n "__fish_twitcher_using_subcommand watch" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l state -d 'Only watches and services in one of these states, such as failed,stopped' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l sort -d 'The order of the watches' -r -f -a "name\t'By file and description'
node\t'By node'
state\t'By state'
failures\t'Those that failed most often in a row first'
last\t'Those that ran last first'"
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l stuck-after -d 'How long an action may run while an update waits for it, or a start may wait because max_actions run, before that is a problem' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l state-dir -d 'State directory of the daemon, whose ledger is read if no daemon runs [default: /var/lib/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l wide -d 'Show all columns and whole versions also on a terminal, and cut nothing'
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l json -d 'Print one JSON object'
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -s f -l follow -d 'Show the state again whenever it changes, until interrupted or until the daemon ends'
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -l check -d 'Print only problems, and exit 1 if there is any: a watch that fails, is held, is stuck or runs in circles, a service that fails its check, that is not announced for another reason or whose member another host has, a start that waits because max_actions run, a store that is not connected, a config that is not loaded or was emptied, configs that are not all read yet, a lost ledger, or another part that does not work'
complete -c twitcher -n "__fish_twitcher_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand trigger" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand trigger" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand trigger" -l force -d 'Run it even with content that a guard holds (`max_data`, `guard`), if the node still has that content'
complete -c twitcher -n "__fish_twitcher_using_subcommand trigger" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand pause" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand pause" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand pause" -l for -d 'Resume them by itself after this time, such as 90s, 30m, 2h or 1d, also if the daemon is restarted' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand pause" -l why -d 'Why: shown in `status`, with who paused the watch and when, and in the log' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand resume" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand resume" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c twitcher -n "__fish_twitcher_using_subcommand kill" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand kill" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand kill" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand reload" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand reload" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand reload" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l services -d 'List when the members of services were announced and withdrawn instead: of all, or of this one' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l since -d 'Only runs that started then or later: a span such as 2h or 3d ago, a date, or a time' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l until -d 'Only runs that started before' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -s n -l limit -d 'Greatest number of runs to list [default: 30, or all with --since]' -r
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l state-dir -d 'State directory of the daemon, whose ledger is read if no daemon runs [default: /var/lib/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l failed -d 'Only runs that failed or whose outcome is unknown'
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l wide -d 'Show whole times, versions and run ids also on a terminal, and cut nothing'
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -l json -d 'Print one JSON object per line'
complete -c twitcher -n "__fish_twitcher_using_subcommand history" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand logs" -l control-socket -d 'Control socket of the daemon [default: /run/twitcher/control.sock]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand logs" -l config-path -d 'Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]' -r -F
complete -c twitcher -n "__fish_twitcher_using_subcommand logs" -s f -l follow -d 'Go on with what the action prints until the run ends. Of a watch, go on with its next run, until interrupted'
complete -c twitcher -n "__fish_twitcher_using_subcommand logs" -s h -l help -d 'Print help'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "run" -d 'Run the daemon: watch the nodes that the configs name, and run their actions'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "check" -d 'Validate .twc files, and directories of them; exit 1 and show where if one is wrong'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "convert" -d 'Print configs of the Python original, Twitcher 1, or of zk_watcher, as configs in Rhai'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "get" -d 'Write a node\'s bytes to stdout; a terminal gets control characters escaped'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "set" -d 'Create a node, with its parents, or replace its data'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "poke" -d 'Rewrite a node\'s data unchanged, so that watches fire'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "ls" -d 'List the names of a node\'s children, sorted, one per line'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "tree" -d 'Show the nodes below a node, sorted and indented'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "txn" -d 'Do several changes at once, or none of them, if conditions hold'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "export" -d 'Write a node and all below it to stdout, one JSON object a line'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "import" -d 'Write nodes that `twitcher export` wrote into a store'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "serve" -d 'Serve the commits of versioned configuration'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "commits" -d 'Read and save versioned configuration on a server (`twitcher serve`)'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "services" -d 'Print the members of a service, with what each says of itself'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "register" -d 'Announce a member of a service while a command runs, or until SIGTERM'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "properties" -d 'Print the properties of a node, or change some of them'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "tables" -d 'List the typed tables that programs with txaio-etcd keep in etcd, or give a table its slot'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "edit" -d 'Edit a node\'s data with $VISUAL or $EDITOR'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "rm" -d 'Delete a node'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "watch" -d 'Follow a node: print its present state, then a line for each change, until interrupted'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "status" -d 'Show the state of the daemon and of its watches; with --check, exit 1 if anything is wrong'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "trigger" -d 'Run a watch\'s action now with the node\'s present content, even if a failure has stopped the watch'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "pause" -d 'Start no new runs of watches until they are resumed, even after a restart; running actions continue'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "resume" -d 'End the pause of watches; if an update came meanwhile, the action runs at once'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "kill" -d 'Kill the running actions of a watch as a timeout does: SIGTERM to each process group, SIGKILL 5 s later'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "reload" -d 'Make the daemon read its configs again, wait for it, and exit 1 if one cannot be loaded'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "history" -d 'List runs, newest first'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "logs" -d 'Write the output of a run to stdout, its last 64 KiB; with -f, also while it runs'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and not __fish_seen_subcommand_from run check convert get set poke ls tree txn export import serve commits services register properties tables edit rm watch status trigger pause resume kill reload history logs help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and __fish_seen_subcommand_from commits" -f -a "list" -d 'List the keys, with version, author, age and comment of the newest commit of each'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and __fish_seen_subcommand_from commits" -f -a "show" -d 'Write a key\'s payload to stdout, byte for byte'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and __fish_seen_subcommand_from commits" -f -a "log" -d 'List the versions of a key, newest first'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and __fish_seen_subcommand_from commits" -f -a "diff" -d 'Show what differs between two versions of a key, as a unified diff'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and __fish_seen_subcommand_from commits" -f -a "save" -d 'Save the next version of a key'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and __fish_seen_subcommand_from commits" -f -a "edit" -d 'Edit a key\'s payload with $VISUAL or $EDITOR, and save it as the next version'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and __fish_seen_subcommand_from commits" -f -a "revert" -d 'Save the payload of an older version as the next version'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and __fish_seen_subcommand_from commits" -f -a "remove" -d 'Remove a key; its history stays'
complete -c twitcher -n "__fish_twitcher_using_subcommand help; and __fish_seen_subcommand_from commits" -f -a "publish" -d 'Compare the journal with the store now, and publish what differs'
function __fish_twitcher_names
    set -g __fish_twitcher_found (command twitcher complete -- (commandline -cp) 2>/dev/null </dev/null)
end
complete -c twitcher -n __fish_twitcher_names -f -a '$__fish_twitcher_found'
