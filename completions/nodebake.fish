# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_nodebake_global_optspecs
    string join \n config= mirror= download-stall= cache-dir= offline q/quiet v/verbose log-format= h/help V/version
end

function __fish_nodebake_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_nodebake_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_nodebake_using_subcommand
    set -l cmd (__fish_nodebake_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c nodebake -n "__fish_nodebake_needs_command" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_needs_command" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_needs_command" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_needs_command" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_needs_command" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_needs_command" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_needs_command" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_needs_command" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_needs_command" -s V -l version -d 'Print version'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "init" -d 'Write a commented cluster file to start from'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "lock" -d 'Write nodebake.lock: url, size and digest of every input, from upstream\'s checksum files, whose signatures are checked; what is locked and fits stays as it is'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "fetch" -d 'Download what is locked into the cache; with `kubectl`, also put that program into OUT'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "bundle" -d 'Carry all that is locked to a machine without a network, as one file'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "build" -d 'Make the payload and the seeds of nodes; what is there and right is left alone'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "render" -d 'Print what goes into a node\'s seed: the list of its files, or one of them'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "verify" -d 'Make every image once more and compare: the cache, what is built, and the machines'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "inspect" -d 'Show what is in an image, ours or another\'s: it is only read, and no cluster file is needed'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "plan" -d 'Show what `up`, `rebuild` and `remove` have to do, and why; exit with 6 if there is anything. Nothing is written'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "doctor" -d 'Look for what could keep nodes from coming up, and say how to mend it; exit with 2 if anything does'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "up" -d 'Build, then create and start what is missing, and wait until the nodes are in the cluster'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "start" -d 'Boot machines that are there, and wait until they are in the cluster; nothing is built'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "stop" -d 'Press the power button of machines, and wait until they are off'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "restart" -d 'Stop machines and start them again'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "wait" -d 'Wait until machines are where they should be, whoever brings them there'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "status" -d 'Show the machines of this cluster, how they differ from what was built, and where their secrets lie; exit with 7 if the certificate of one is near its end'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "rebuild" -d 'Replace machines by new ones of the same name, UUID, MAC and address, there or at another hypervisor'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "evacuate" -d 'Have all nodes leave a hypervisor, one after the other: each is drained, and made anew at another one'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "down" -d 'Remove machines with their disks: nothing is drained, and their plugs are pulled; base images, payloads, pools, networks and data disks stay'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "remove" -d 'Remove the machines of single nodes with their disks and logs, also of nodes that the cluster file no longer names'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "explain" -d 'Show the settings of a node, and which layer of the cluster file gave each'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "console" -d 'Sit at a running machine\'s serial console; Ctrl-] leaves'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "logs" -d 'Show what a machine reported of its boots, and its console'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "image" -d 'Make a golden image: a base image that holds the payload and its packages already, by booting one machine once'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "gc" -d 'Remove from the cache what no lock and no machine of any cluster needs, and from the pool what no machine uses'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "identity" -d 'Look after certificates and keys: list them, renew them, have them signed elsewhere'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "kubeconfig" -d 'Write a kubeconfig for the administrator, signed by the cluster\'s CA'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "hosts" -d 'Print the lines that /etc/hosts of the control plane needs for the nodes'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "schema" -d 'Print a JSON Schema (draft 2020-12) of the cluster file, by which editors complete and check it; no cluster file is needed'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "completions" -d 'Print what a shell completes this command line with; no cluster file is needed'
complete -c nodebake -n "__fish_nodebake_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nodebake -n "__fish_nodebake_using_subcommand init" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand init" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand init" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand init" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand init" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand init" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand init" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand init" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand init" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -l update -d 'Move to the newest patch release of each version in the cluster file, which is changed too, and to the newest base image'
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -l check -d 'Change nothing and ask nobody: exit with 3 and every difference where lock and cluster file do not fit'
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand lock" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand fetch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -f -a "export" -d 'Write the lock and every file that it locks to FILE; the same lock gives the same bytes'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -f -a "import" -d 'Verify FILE and fill the cache from it; its lock goes beside the cluster file'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and not __fish_seen_subcommand_from export import help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from export" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from export" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from export" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from export" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from export" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from export" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from export" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from export" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from export" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -l replace-lock -d 'Take the bundle\'s lock in place of another one beside the cluster file'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from help" -f -a "export" -d 'Write the lock and every file that it locks to FILE; the same lock gives the same bytes'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from help" -f -a "import" -d 'Verify FILE and fill the cache from it; its lock goes beside the cluster file'
complete -c nodebake -n "__fish_nodebake_using_subcommand bundle; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -l all -d 'Every node of the cluster file'
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -l self-contained -d 'One image for each node that holds its payload too, for machines that take a single drive'
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand build" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -l show-secrets -d 'Print secrets as they are, not only how long they are'
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand render" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -l images -d 'Look at images alone: libvirt is not asked'
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -l digest -d 'Show SHA-256 digests: of the image and of the files in it, or of the file at PATH'
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -l show-secrets -d 'Show keys, kubeconfigs, user-data and whatever its owner alone may read, which is "(secret)" else'
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -l fix -d 'Mend what `up` would mend anyway: start networks and pools, have ours start with their host; and take a kubeconfig of yours away from others (mode 0600). All else is left to you'
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -l parallel -d 'Work on at most so many machines at the same time' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -l stall -d 'Give a machine up after this many seconds without any sign of life' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -l parallel -d 'Work on at most so many machines at the same time' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -l stall -d 'Give a machine up after this many seconds without any sign of life' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -l parallel -d 'Work on at most so many machines at the same time' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -l stall -d 'Give a machine up after this many seconds without any sign of life' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -l force -d 'Pull the plug of those that do not go off; what their guests have not written yet is lost'
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -l parallel -d 'Work on at most so many machines at the same time' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -l stall -d 'Give a machine up after this many seconds without any sign of life' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -l force -d 'Pull the plug of those that do not go off; what their guests have not written yet is lost'
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -l for -d 'What to wait for: registered (in the cluster), ready, off, or stage=STAGE, such as stage=kubelet-active' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -l stall -d 'Give a machine up after this many seconds without any sign of life' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand wait" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -s o -l output -d 'How it is printed' -r -f -a "table\t'For people'
wide\t'The same with more columns'
json\t'JSON (RFC 8259): everything'
yaml\t'YAML 1.2: everything'"
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -s w -l watch -d 'Go on, and show it again whenever something has changed; with json, a line for each time'
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l domain -d 'With --take-over of one node: the name of its domain, where that is another' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l to -d 'Make the new machines at this hypervisor; nodes that are there and as the cluster file asks stay as they are' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l max-unavailable -d 'Have at most so many of these nodes out at the same time, a number or such as 10%; groups go one after the other, and after a failure none is begun any more' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l drain-timeout -d 'Give the node up that is not drained after this many seconds' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l grace-period -d 'Give each pod this many seconds to end [default: its own]' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l stall -d 'Give a machine up after this many seconds without any sign of life' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l all -d 'Every node of the cluster file that differs from it'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l same -d 'With --all and -g, also nodes that are as the cluster file asks'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l take-over -d 'Take machines over that were made by hand under the nodes\' names and addresses: each is drained, stopped and kept, and gets its place back where the new machine does not come up'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l force -d 'Pull the plug of machines that do not go off when their power button is pressed'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l keep-labels -d 'Give the new machines\' nodes the labels, taints and annotations that were given by hand'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l leave-data -d 'Leave data disks behind where nodes go to another hypervisor: they get new ones there'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l no-drain -d 'Leave them where they are: they end with the machine'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l allow-unmanaged -d 'Evict pods that no controller makes anew'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l allow-emptydir -d 'Evict pods that have emptyDir volumes, whose content is lost'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l allow-local-pvs -d 'Evict pods whose persistent volumes lie on the node'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l yes -d 'Do not ask; needed where there is no terminal to ask on'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand rebuild" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l max-unavailable -d 'Have at most so many of these nodes out at the same time, a number or such as 10%; groups go one after the other, and after a failure none is begun any more' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l drain-timeout -d 'Give the node up that is not drained after this many seconds' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l grace-period -d 'Give each pod this many seconds to end [default: its own]' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l stall -d 'Give a machine up after this many seconds without any sign of life' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l force -d 'Pull the plug of machines that do not go off when their power button is pressed'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l keep-labels -d 'Give the new machines\' nodes the labels, taints and annotations that were given by hand'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l leave-data -d 'Leave data disks behind where nodes go to another hypervisor: they get new ones there'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l no-drain -d 'Leave them where they are: they end with the machine'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l allow-unmanaged -d 'Evict pods that no controller makes anew'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l allow-emptydir -d 'Evict pods that have emptyDir volumes, whose content is lost'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l allow-local-pvs -d 'Evict pods whose persistent volumes lie on the node'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l yes -d 'Do not ask; needed where there is no terminal to ask on'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand evacuate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -l with-data -d 'Their data disks as well'
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -l yes -d 'Do not ask; needed where there is no terminal to ask on'
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand down" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l drain-timeout -d 'Give the node up that is not drained after this many seconds' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l grace-period -d 'Give each pod this many seconds to end [default: its own]' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l stall -d 'Pull the plug of a machine that is silent for this many seconds after its power button was pressed' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l gone -d 'Nodes that the cluster file no longer names'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l taken-over -d 'Only what is kept of the machines before, which were taken over: their domains, and those of their disks that are volumes of libvirt\'s pools and that nobody else uses'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l with-data -d 'Their data disks as well'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l no-drain -d 'Leave them where they are: they end with the machine'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l allow-unmanaged -d 'Evict pods that no controller makes anew'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l allow-emptydir -d 'Evict pods that have emptyDir volumes, whose content is lost'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l allow-local-pvs -d 'Evict pods whose persistent volumes lie on the node'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l yes -d 'Do not ask; needed where there is no terminal to ask on'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand explain" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand explain" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand explain" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand explain" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand explain" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand explain" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand explain" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand explain" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand explain" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand console" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand console" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand console" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand console" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand console" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand console" -l force -d 'Take the console over from another session, which is cut off'
complete -c nodebake -n "__fish_nodebake_using_subcommand console" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand console" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand console" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand console" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -l tail -d 'At most so many lines of each, the last ones' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -s p -l previous -d 'Show what it told before it was started the last time'
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -s f -l follow -d 'Go on with what it tells, until its machine is off'
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -l first-boot -d 'Only the stages that it reported'
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -l console -d 'Only its console'
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -l out -d 'Folder for what is made' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -l stall -d 'Give a machine up after this many seconds without any sign of life' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand image" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -l forget -d 'A cluster file that has used the cache and counts no more, as where its disk or its hypervisor is lost' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -l dry-run -d 'Show what would be removed, and remove nothing'
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand gc" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -f -a "list" -d 'Show the certificates of nodes, administrator and CA, and how long they last; exit with 7 if one is near its end'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -f -a "csr" -d 'Write a request for a node\'s certificate, for whoever signs it; its key is made here, and stays here'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -f -a "import" -d 'Take in a node\'s certificate that was signed elsewhere, once it fits the node, its key and the CA'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -f -a "renew" -d 'Issue nodes a new key and certificate, however good the old ones are; `rebuild` brings them to the machines'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and not __fish_seen_subcommand_from list csr import renew help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -s o -l output -d 'How it is printed' -r -f -a "table\t'For people'
wide\t'The same with more columns'
json\t'JSON (RFC 8259): everything'
yaml\t'YAML 1.2: everything'"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -l out -d 'Folder for NODE.csr' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -l all -d 'Every node of the cluster file'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from csr" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -l replace -d 'Let another certificate go that was brought along before, and its key'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -l all -d 'Every node of the cluster file'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from renew" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show the certificates of nodes, administrator and CA, and how long they last; exit with 7 if one is near its end'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from help" -f -a "csr" -d 'Write a request for a node\'s certificate, for whoever signs it; its key is made here, and stays here'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from help" -f -a "import" -d 'Take in a node\'s certificate that was signed elsewhere, once it fits the node, its key and the CA'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from help" -f -a "renew" -d 'Issue nodes a new key and certificate, however good the old ones are; `rebuild` brings them to the machines'
complete -c nodebake -n "__fish_nodebake_using_subcommand identity; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -l out -d 'The file to write, mode 0600 [default: cluster.kubeconfig of the cluster file, else admin.kubeconfig beside it]' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand kubeconfig" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -s g -l group -d 'The nodes of this group as well; may be given several times' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -s o -l output -d 'How what came of it is printed; docs/output.md has the fields' -r -f -a "table\t'For people'
json\t'JSON (RFC 8259)'
yaml\t'YAML 1.2'"
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand hosts" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand schema" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand schema" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand schema" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand schema" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand schema" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand schema" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand schema" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand schema" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand completions" -l config -d 'The cluster file; nodebake.lock and .nodebake/ stand beside it' -r -F
complete -c nodebake -n "__fish_nodebake_using_subcommand completions" -l mirror -d 'Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand completions" -l download-stall -d 'Give a download up, and try it again, after this many seconds without a byte' -r
complete -c nodebake -n "__fish_nodebake_using_subcommand completions" -l cache-dir -d 'Folder of the download cache [default: ~/.cache/nodebake]' -r -f -a "(__fish_complete_directories)"
complete -c nodebake -n "__fish_nodebake_using_subcommand completions" -l log-format -d 'How that is written on stderr; as JSON nothing is asked' -r -f -a "text\t'For people'
json\t'One JSON object a line, with time, level and message; docs/output.md has its fields'"
complete -c nodebake -n "__fish_nodebake_using_subcommand completions" -l offline -d 'Download nothing: what is not in the cache is an error'
complete -c nodebake -n "__fish_nodebake_using_subcommand completions" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c nodebake -n "__fish_nodebake_using_subcommand completions" -s v -l verbose -d 'Tell what goes on inside as well; twice tells more'
complete -c nodebake -n "__fish_nodebake_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "init" -d 'Write a commented cluster file to start from'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "lock" -d 'Write nodebake.lock: url, size and digest of every input, from upstream\'s checksum files, whose signatures are checked; what is locked and fits stays as it is'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "fetch" -d 'Download what is locked into the cache; with `kubectl`, also put that program into OUT'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "bundle" -d 'Carry all that is locked to a machine without a network, as one file'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "build" -d 'Make the payload and the seeds of nodes; what is there and right is left alone'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "render" -d 'Print what goes into a node\'s seed: the list of its files, or one of them'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "verify" -d 'Make every image once more and compare: the cache, what is built, and the machines'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "inspect" -d 'Show what is in an image, ours or another\'s: it is only read, and no cluster file is needed'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "plan" -d 'Show what `up`, `rebuild` and `remove` have to do, and why; exit with 6 if there is anything. Nothing is written'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "doctor" -d 'Look for what could keep nodes from coming up, and say how to mend it; exit with 2 if anything does'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "up" -d 'Build, then create and start what is missing, and wait until the nodes are in the cluster'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "start" -d 'Boot machines that are there, and wait until they are in the cluster; nothing is built'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "stop" -d 'Press the power button of machines, and wait until they are off'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "restart" -d 'Stop machines and start them again'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "wait" -d 'Wait until machines are where they should be, whoever brings them there'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "status" -d 'Show the machines of this cluster, how they differ from what was built, and where their secrets lie; exit with 7 if the certificate of one is near its end'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "rebuild" -d 'Replace machines by new ones of the same name, UUID, MAC and address, there or at another hypervisor'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "evacuate" -d 'Have all nodes leave a hypervisor, one after the other: each is drained, and made anew at another one'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "down" -d 'Remove machines with their disks: nothing is drained, and their plugs are pulled; base images, payloads, pools, networks and data disks stay'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "remove" -d 'Remove the machines of single nodes with their disks and logs, also of nodes that the cluster file no longer names'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "explain" -d 'Show the settings of a node, and which layer of the cluster file gave each'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "console" -d 'Sit at a running machine\'s serial console; Ctrl-] leaves'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "logs" -d 'Show what a machine reported of its boots, and its console'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "image" -d 'Make a golden image: a base image that holds the payload and its packages already, by booting one machine once'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "gc" -d 'Remove from the cache what no lock and no machine of any cluster needs, and from the pool what no machine uses'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "identity" -d 'Look after certificates and keys: list them, renew them, have them signed elsewhere'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "kubeconfig" -d 'Write a kubeconfig for the administrator, signed by the cluster\'s CA'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "hosts" -d 'Print the lines that /etc/hosts of the control plane needs for the nodes'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "schema" -d 'Print a JSON Schema (draft 2020-12) of the cluster file, by which editors complete and check it; no cluster file is needed'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "completions" -d 'Print what a shell completes this command line with; no cluster file is needed'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and not __fish_seen_subcommand_from init lock fetch bundle build render verify inspect plan doctor up start stop restart wait status rebuild evacuate down remove explain console logs image gc identity kubeconfig hosts schema completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and __fish_seen_subcommand_from bundle" -f -a "export" -d 'Write the lock and every file that it locks to FILE; the same lock gives the same bytes'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and __fish_seen_subcommand_from bundle" -f -a "import" -d 'Verify FILE and fill the cache from it; its lock goes beside the cluster file'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and __fish_seen_subcommand_from identity" -f -a "list" -d 'Show the certificates of nodes, administrator and CA, and how long they last; exit with 7 if one is near its end'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and __fish_seen_subcommand_from identity" -f -a "csr" -d 'Write a request for a node\'s certificate, for whoever signs it; its key is made here, and stays here'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and __fish_seen_subcommand_from identity" -f -a "import" -d 'Take in a node\'s certificate that was signed elsewhere, once it fits the node, its key and the CA'
complete -c nodebake -n "__fish_nodebake_using_subcommand help; and __fish_seen_subcommand_from identity" -f -a "renew" -d 'Issue nodes a new key and certificate, however good the old ones are; `rebuild` brings them to the machines'
