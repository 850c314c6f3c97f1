# octavia-lib comes with the agent. Its own source is fetched only when somebody names one.
if [ -z "${DIB_INSTALLTYPE_octavia_lib:-}" ]; then
    if [ -n "${DIB_REPOREF_octavia_lib:-}${DIB_REPOLOCATION_octavia_lib:-}" ]; then
        DIB_INSTALLTYPE_octavia_lib=source
    else
        DIB_INSTALLTYPE_octavia_lib=package
    fi
fi
export DIB_INSTALLTYPE_octavia_lib
