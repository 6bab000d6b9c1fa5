#!/bin/sh
# Installs promptry's executable for this system and CPU, or replaces an older one:
#
#     curl -fsSL ADDRESS/install.sh | sh                     the newest release's own file installs that release
#     sh install.sh v0.1.0                                   another release
#
# PROMPTRY_INSTALL_DIR is where it goes (~/.local/bin without it). It is verified against the SHA256SUMS of its release
# before anything is replaced, never needs root, and no profile of a shell is edited. All that is done stands in
# functions that the last line calls, so a download that was cut does nothing.

# The release workflow writes these three in; the file in the repository does not know them.
stamped_server='@SERVER@'
stamped_repository='@REPOSITORY@'
stamped_version='@VERSION@'

end() { # CODE SENTENCE: 2 for what cannot be meant here, 3 for what could not be read or verified
    printf '%s%s\n' "${PROMPTRY_ERROR_PREFIX-install.sh: }" "$(printf '%s' "$2" | tr '\r\n' '  ')" >&2
    exit "$1"
}

is_there() { command -v "$1" >/dev/null 2>&1; }

find_file_name() { # sets file and program
    case $(uname -s) in
        Linux) system=linux ;;
        Darwin) system=macos ;;
        MINGW* | MSYS* | CYGWIN*) system=windows ;;
        *) end 2 "There is no executable for $(uname -s); any Python from 3.11 on runs promptry: pip install promptry." ;;
    esac
    case $(uname -m) in
        x86_64 | amd64 | AMD64) cpu=x64 ;;
        aarch64 | arm64 | ARM64) cpu=arm64 ;;
        *) end 2 "There is no executable for the CPU $(uname -m); any Python from 3.11 on runs promptry: pip install promptry." ;;
    esac
    # A shell that runs translated on a Mac of today says x86_64.
    if [ "$system" = macos ] && [ "$cpu" = x64 ] && [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" = 1 ]; then
        cpu=arm64
    fi
    if [ "$system" = linux ] && { ldd --version 2>&1 || true; } | grep -qi musl; then
        end 2 "This system has musl, and the executable needs glibc; any Python from 3.11 on runs promptry: pip install promptry."
    fi
    file="promptry-$system-$cpu" program=promptry
    if [ "$system" = windows ]; then
        file="promptry-windows-x64.exe" program=promptry.exe # which Windows on arm64 runs too
    fi
}

download() { # ADDRESS FILE: true if it is there and whole
    case $1 in https://*) protocols='=https' ;; *) protocols='=http,https' ;; esac
    if is_there curl; then
        curl --fail --silent --show-error --location --proto "$protocols" --retry 3 --connect-timeout 30 \
            --output "$2" "$1"
    elif is_there wget; then
        wget -q -T 30 -O "$2" "$1"
    else
        end 2 "Neither curl nor wget is here, and one of them is needed."
    fi
}

find_summer() { # sets summer
    if is_there sha256sum; then
        summer=sha256sum
    elif is_there shasum; then
        summer='shasum -a 256'
    else
        end 2 "Neither sha256sum nor shasum is here, and without one nothing can be verified."
    fi
}

sum_of() { # FILE
    $summer <"$1" | cut -d ' ' -f 1
}

install_promptry() {
    set -eu
    server=${PROMPTRY_SERVER:-$stamped_server} repository=${PROMPTRY_REPOSITORY:-$stamped_repository}
    version=${1:-${PROMPTRY_VERSION:-$stamped_version}}
    case "$server $repository $version" in
        *@SERVER@* | *@REPOSITORY@* | *@VERSION@*)
            end 2 "This copy is from the repository and names no release: take install.sh from a release, or set PROMPTRY_SERVER, PROMPTRY_REPOSITORY and PROMPTRY_VERSION." ;;
    esac
    case $version in
        [0-9]*) version="v$version" ;;
    esac
    case $version in
        *[!A-Za-z0-9._+-]*) end 2 "The version '$version' is no name of a release, such as v0.1.0." ;;
    esac
    find_file_name
    find_summer
    releases="${server%/}/$repository/releases"
    folder="$releases/download/$version"
    if [ "$version" = latest ]; then
        folder="$releases/latest/download"
    fi
    target=${PROMPTRY_INSTALL_DIR:-${HOME:?HOME is not set: set PROMPTRY_INSTALL_DIR.}/.local/bin}
    mkdir -p "$target" || end 2 "$target cannot be made: set PROMPTRY_INSTALL_DIR to a folder that you may write."
    work=$(mktemp -d "$target/.promptry-XXXXXX") ||
        end 2 "$target cannot be written: set PROMPTRY_INSTALL_DIR to a folder that you may write."
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM HUP

    download "$folder/SHA256SUMS" "$work/SHA256SUMS" ||
        end 3 "There is no release $version of $repository at $server, or it cannot be reached."
    wanted=$(awk -v file="$file" '$2 == file || $2 == "*" file { print $1; exit }' "$work/SHA256SUMS")
    if [ -z "$wanted" ]; then
        end 2 "The release $version has no $file; any Python from 3.11 on runs promptry: pip install promptry."
    fi
    if [ -f "$target/$program" ] && [ "$(sum_of "$target/$program")" = "$wanted" ]; then
        echo "$target/$program is promptry $version already."
    else
        download "$folder/$file" "$work/$program" || end 3 "$folder/$file cannot be read."
        found=$(sum_of "$work/$program")
        if [ "$found" != "$wanted" ]; then
            end 3 "$file has the checksum $found, and $wanted is promised: it is not what was released, and nothing is installed."
        fi
        chmod 755 "$work/$program"
        said=$("$work/$program" --version 2>&1) ||
            end 3 "$file does not start here, and nothing is installed: $said"
        mv -f "$work/$program" "$target/$program"
        echo "$target/$program is $said."
    fi
    case ":${PATH:-}:" in
        *":$target:"*) ;;
        *) echo "Add it to your PATH: export PATH=\"$target:\$PATH\"" ;;
    esac
}

{ install_promptry "$@"; }
