# The released agent from PyPI, unless something here asks for a git repository.
if [ -z "${DIB_INSTALLTYPE_amphora_agent:-}" ]; then
    if [ -n "${DIB_REPOREF_amphora_agent:-}${DIB_REPOLOCATION_amphora_agent:-}" ]; then
        DIB_INSTALLTYPE_amphora_agent=source
    else
        DIB_INSTALLTYPE_amphora_agent=pypi
    fi
fi
export DIB_INSTALLTYPE_amphora_agent
if [ "$DIB_INSTALLTYPE_amphora_agent" != package ]; then
    export LEND_UV=1
fi
# The constraints are fetched for the agent's source alone.
export DIB_INSTALLTYPE_upper_constraints=${DIB_INSTALLTYPE_upper_constraints:-$DIB_INSTALLTYPE_amphora_agent}

export DIB_OCTAVIA_AMP_USE_NFTABLES=${DIB_OCTAVIA_AMP_USE_NFTABLES:-True}
export DIB_OCTAVIA_AMP_USE_SSH=${DIB_OCTAVIA_AMP_USE_SSH:-True}
