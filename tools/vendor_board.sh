#!/bin/sh
# Fetches the board's libraries from npm at the versions below, checks them, and puts what is used into the package.
# Repeatable: run again it changes nothing. `vendor_board.sh --check` only compares what is there with checksums.txt.
set -eu
cd "$(dirname "$0")/../receiver/board/static/vendor"

if [ "${1:-}" = --check ]; then
    exec sha256sum --check --strict --quiet checksums.txt
fi

# Not 3.3.1 to 3.3.3: their repeat() leaves a comment node behind with each row that goes (lit issue 5298).
LIT_HTML=3.3.0
UPLOT=1.6.32

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# take PACKAGE VERSION SHA256: unpacks the package's archive into $work/PACKAGE.
take() {
    (cd "$work" && npm pack --silent "$1@$2" >/dev/null)
    echo "$3  $work/$1-$2.tgz" | sha256sum --check --strict --quiet
    mkdir "$work/$1"
    tar -xzf "$work/$1-$2.tgz" -C "$work/$1" --strip-components 1
}

# put PACKAGE FILE…: copies files of it, without the note that points at a source map.
put() {
    package=$1
    shift
    for file in "$@"; do
        mkdir -p "$package/$(dirname "$file")"
        sed '/^\/\/# sourceMappingURL=/d' "$work/$package/$file" >"$package/$file"
    done
}

take lit-html $LIT_HTML 4d9094f9db0e261b28e469073c0a9b51bb942507fda326db2cb53ee10c306942
take uplot $UPLOT 4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d

rm -rf lit-html uplot
put lit-html LICENSE lit-html.js directive.js directive-helpers.js directives/repeat.js
put uplot LICENSE dist/uPlot.esm.js dist/uPlot.min.css
printf 'lit-html %s BSD-3-Clause\nuplot %s MIT\n' $LIT_HTML $UPLOT >versions.txt
find lit-html uplot versions.txt -type f | LC_ALL=C sort | xargs sha256sum >checksums.txt
