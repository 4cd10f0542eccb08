# Usage: zsh -f zsh_offers.zsh DIRECTORY LINE. Prints what an interactive zsh offers at the end of LINE, with the
# completion `_twitcher` in DIRECTORY. A zsh of its own, on a terminal of its own, gets the line and a tab.
zmodload zsh/zpty || exit
export directory=$1
cat > $directory/rc <<'RC'
PROMPT= fpath=($directory $fpath)
autoload -Uz compinit && compinit -u -D
bindkey '^I' complete-word
zstyle ':completion:*' insert-tab false
comppostfuncs=(finish)
finish() { exit }
compadd() {
    # With one of these options it only fills an array.
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
        local -a matching
        builtin compadd -O matching "$@"
        (( ! $#matching )) || print -rl -- "${matching[@]}" >> $directory/offered
    fi
    builtin compadd "$@"
}
ready() { : > $directory/ready }
zle -N zle-line-init ready
RC
rm -f $directory/ready
: > $directory/offered
zpty shell zsh -f -i
zpty -w shell ". $directory/rc"
until [[ -e $directory/ready ]]; do
    zpty -t shell || exit
    zpty -r -t shell output || sleep 0.01
done
zpty -w -n shell "$2"$'\t'
while zpty -r shell output; do :; done
sort -u $directory/offered
